#!/usr/bin/env bash
# databricks-sdk: a script starts the nightly forecast's job and waits for it, `jobs.run_now(job).result()`.
# Guess: result() raises where the run did not succeed, as a future does, and as it says of INTERNAL_ERROR.
# Behaviour: it waits for the end and returns whichever it was: FAILED, TIMEDOUT, CANCELED, or SKIPPED because last night's
# run was still going. So do submit(...).result() and run_now_and_wait(). The next line reads yesterday's forecast. A result
# that the SDK does not know yet is None, as if there were none. Compare state.result_state with SUCCESS.
# The workspace is a server of one file here that answers as the Jobs API's reference says.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check databricks-sdk==0.60.0
DATABRICKS_CONFIG_FILE="$folder/none" "$folder/env/bin/python" - <<'PYTHON'
import http.server
import json
import sys
import threading
from datetime import timedelta

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed
from databricks.sdk.version import __version__

print("databricks-sdk", __version__)
state = {}


class Jobs(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        self.answer({"run_id": 7})

    def do_GET(self):
        self.answer({"run_id": 7, "job_id": 1, "state": state})

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
threading.Thread(target=server.serve_forever, daemon=True).start()
jobs = WorkspaceClient(host=f"http://127.0.0.1:{server.server_port}", token="any").jobs
ways = {
    "run_now().result()": lambda: jobs.run_now(1).result(timeout=timedelta(seconds=20)),
    "submit().result()": lambda: jobs.submit(run_name="forecast").result(timeout=timedelta(seconds=20)),
    "run_now_and_wait()": lambda: jobs.run_now_and_wait(1, timeout=timedelta(seconds=20)),
}
same = True
for life, result, expected in [
    ("TERMINATED", "SUCCESS", "SUCCESS"),
    ("TERMINATED", "FAILED", "FAILED"),
    ("TERMINATED", "TIMEDOUT", "TIMEDOUT"),
    ("TERMINATED", "CANCELED", "CANCELED"),
    ("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED", "MAXIMUM_CONCURRENT_RUNS_REACHED"),
    ("TERMINATED", "A_STATE_OF_NEXT_YEAR", None),
    ("INTERNAL_ERROR", "FAILED", OperationFailed),
]:
    state.update(life_cycle_state=life, result_state=result, state_message="")
    for name, way in ways.items():
        try:
            ended = way().state.result_state
            found = ended and ended.value
        except OperationFailed:
            found = OperationFailed
        same &= found == expected
        print(f"{life}, {result}: {name}", "raises" if found is OperationFailed else f"returns a run with {ended}")
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
