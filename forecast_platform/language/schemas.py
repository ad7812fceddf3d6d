"""JSON schemas (draft 2020-12) of the three files that others read."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_SOME_TEXT = {"type": "string", "minLength": 1}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_PERHAPS_NUMBER = {"type": ["number", "null"]}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"}
_PERCENT = {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}
_SIZE = {"type": "string", "pattern": r"^\d+(\.\d+)?[KMBT]?$"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


_INTERVAL = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_FIGURES = _object(
    {
        "perplexity": {"type": "number", "minimum": 1},
        "avg_loss": {"type": "number", "minimum": 0},
        "std_loss": {"type": "number", "minimum": 0},
        "num_samples": _COUNT,
        "total_tokens": _COUNT,
    },
    interval=_INTERVAL,
)
_COMPARED = _object({"base": _FIGURES, "cpt": _FIGURES, "improvement_percent": _NUMBER}, improvement_interval=_INTERVAL)

TRAINING_METRICS = _object(
    {
        "run_id": _SOME_TEXT,
        "experiment_name": _SOME_TEXT,
        "model_name": _SOME_TEXT,
        "status": {"enum": ["FINISHED", "FAILED", "KILLED", "RUNNING"]},
        "start_time": _TIME,
        "end_time": _TIME,
        "duration_minutes": {"type": "number", "minimum": 0},
        "params": _object(
            {
                "model_name": _SOME_TEXT,
                "learning_rate": _NUMBER,
                "num_epochs": _NUMBER,
                "per_device_train_batch_size": _COUNT,
                "gradient_accumulation_steps": _COUNT,
                "effective_batch_size": _COUNT,
                "max_seq_length": _COUNT,
                "lora_r": {"type": ["integer", "null"]},
                "lora_alpha": {"type": ["integer", "null"]},
                "replay_ratio": _NUMBER,
                "quantization": _SOME_TEXT,
            }
        ),
        "training_log": {
            "type": "array",
            "items": _object(
                {"step": _COUNT, "train_loss": _PERHAPS_NUMBER, "learning_rate": _PERHAPS_NUMBER},
                eval_loss=_NUMBER,
                eval_perplexity=_NUMBER,
            ),
        },
        "final_metrics": _object(
            {
                "train_loss": _NUMBER,
                "eval_loss": _NUMBER,
                "eval_perplexity": _NUMBER,
                "train_samples": _COUNT,
                "eval_samples": _COUNT,
                "total_steps": _COUNT,
                "trainable_parameters": _SIZE,
                "total_parameters": _SIZE,
                "trainable_percent": _PERCENT,
            }
        ),
        "artifacts": _object(
            {
                "model_path": _SOME_TEXT,
                "mlflow_artifact": {"type": ["string", "null"]},
                "checkpoints": {"type": "array", "items": _TEXT},
            }
        ),
    }
)

EVALUATION_RESULTS = _object(
    {
        "base_model": _SOME_TEXT,
        "cpt_model": _SOME_TEXT,
        "evaluation_date": _TIME,
        "domain_perplexity": _COMPARED,
        "generation_comparisons": {
            "type": "array",
            "minItems": 5,
            "maxItems": 5,
            "items": _object({"prompt": _SOME_TEXT, "base_response": _TEXT, "cpt_response": _TEXT}),
        },
        "summary": _object(
            {
                "domain_perplexity_improvement": _SOME_TEXT,
                "verdict": {"type": "string", "pattern": "^(SUCCESS|PARTIAL|MINIMAL): "},
                "notes": _TEXT,
            },
            general_verdict={"type": "string", "pattern": "^(KEPT|WORSE|FORGOTTEN): "},
        ),
    },
    general_perplexity=_COMPARED,
)

RECOMMENDATION = _object(
    {
        "task": _SOME_TEXT,
        "models_evaluated": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "items": _object(
                {
                    "name": _SOME_TEXT,
                    "version": _SOME_TEXT,
                    "stage": _TEXT,
                    "metrics": {"type": "object", "additionalProperties": _NUMBER},
                }
            ),
        },
        "recommendation": {"type": "string", "pattern": "Recommendation"},
        "generated_by": _SOME_TEXT,
        "timestamp": _TIME,
    },
    acceptable={"type": "boolean"},
)
