"""/api/v2/recommendations: which registered model for a task, by a ranking that anyone can repeat."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from forecast_platform.api.answers import Fault
from forecast_platform.api.routes import WrongTypeError
from forecast_platform.language.generation import KeptWriter
from forecast_platform.language.recommend import LONGEST_TASK, recommend_model
from forecast_platform.settings import Settings

_MOST_NAMES = 100
_Task = Annotated[
    str, Field(min_length=1, max_length=LONGEST_TASK, description="What the model is for, in a sentence.")
]
_Names = Annotated[list[str], Field(max_length=_MOST_NAMES)]
_Criteria = Annotated[str, Field(max_length=LONGEST_TASK)]
_Bound = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text}
    for status, text in {
        400: "A field is wrong; the text names it.",
        401: "Nothing says who asks.",
        403: "Sent by a page of another site.",
        404: "No model is registered, or none of those named.",
        413: "Too large.",
        415: "Not JSON.",
        421: "Asked under a name that is not this server's.",
        503: "The model registry does not answer.",
    }.items()
}


class AskedRecommendation(BaseModel):
    """A task, and what an answer has to keep to."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"task": "Forecast coffee prices two weeks ahead", "criteria": "coverage_80 >= 75, lowest crps_14d"}
            ]
        },
    )

    task: _Task
    criteria: _Criteria | Annotated[list[_Criteria], Field(max_length=_MOST_NAMES)] | dict[str, _Bound] | None = Field(
        default=None,
        description="Bounds and what to order by, such as `mape < 5, lowest crps`; or metric to bound (`max_mape: 5`).",
    )
    model_names: _Names | None = Field(default=None, description="The registered models to choose among; all if unset.")


class EvaluatedModel(BaseModel):
    """A version of a registered model with its figures, each in the unit that its run logged it in."""

    name: str
    version: str
    stage: str
    metrics: dict[str, float]
    parameters: dict[str, str]
    lineage: list[str]
    run_id: str | None


class RecommendationAnswer(BaseModel):
    """recommendation.json."""

    task: str
    models_evaluated: list[EvaluatedModel] = Field(description="Best first, ten at most.")
    recommendation: str = Field(description="Markdown: Recommendation, Justification, Acceptance Criteria, Risks.")
    acceptable: bool = Field(description="Whether the first model keeps every bound of the criteria.")
    generated_by: str = Field(description="The ranking, and whose words go with it where they stood up to the check.")
    timestamp: str


class NoModelError(LookupError):
    """The registry has no model to recommend."""


def recommendation_routes(settings: Settings) -> APIRouter:
    """The routes over the registry of these settings. No request names a folder or a store: the settings do."""
    router = APIRouter(prefix="/api/v2", responses=_FAULTS, tags=["recommendations"])
    chosen = settings.language
    writer = None if chosen.model is None or chosen.endpoint is not None else KeptWriter(chosen.model)

    def recommended(asked: AskedRecommendation) -> dict[str, Any]:
        found = recommend_model(asked.task, asked.model_names, None, asked.criteria, settings=settings, writer=writer)
        if "error" in found:
            some = "" if asked.model_names is None else f" of the names {', '.join(asked.model_names)}"
            raise NoModelError(f"{found['error']}{some}: train one first, or name others (model_names)")
        return found

    @router.post("/recommendations", response_model=RecommendationAnswer, dependencies=[Depends(_is_json)])
    def recommend(asked: AskedRecommendation) -> dict[str, Any]:
        """Which registered model for a task: the ranking by its criteria, with a language model's words where one is
        set (`language.model`, `language.endpoint`) and they name nothing else."""
        return recommended(asked)

    @router.get("/recommendations", response_model=RecommendationAnswer)
    def recommend_by_address(
        task: Annotated[str, Query(min_length=1, max_length=LONGEST_TASK)],
        criteria: _Criteria | None = None,
        model_names: Annotated[list[str] | None, Query(max_length=_MOST_NAMES)] = None,
    ) -> dict[str, Any]:
        """The same by an address alone."""
        return recommended(AskedRecommendation(task=task, criteria=criteria, model_names=model_names))

    return router


def _is_json(request: Request) -> None:
    if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        raise WrongTypeError("send it with Content-Type: application/json")
