#!/usr/bin/env bash
# exchange_calendars: the calendars named after US commodity exchanges.
# Guess: NYMEX, COMEX, CBOT and ICEUS name the days on which crude oil, gold, corn and coffee settle.
# Behaviour: they are aliases of calendars of electronic trading hours (CMES, IEPA) that are open on Thanksgiving, 4 July,
# Labor Day and the like, days without a settlement: about a hundred sessions too many from 2010 to 2025.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check exchange_calendars==4.13.2
"$folder/env/bin/python" - <<'PYTHON'
import sys

import exchange_calendars

print("exchange_calendars", exchange_calendars.__version__)
start, end = "2010-01-01", "2025-12-31"
stocks = set(exchange_calendars.get_calendar("XNYS", start=start, end=end).sessions)
same = True
for name, target in {"NYMEX": "CMES", "COMEX": "CMES", "CBOT": "CMES", "ICEUS": "IEPA"}.items():
    calendar = exchange_calendars.get_calendar(name, start=start, end=end)
    sessions = set(calendar.sessions)
    more = sorted(day for day in sessions - stocks if day.year == 2024)
    print(f"{name} is {calendar.name}: {len(sessions - stocks)} sessions that XNYS has not, in 2024:")
    print("   ", ", ".join(f"{day:%a %d %b}" for day in more))
    holidays = {f"{day:%m-%d}" for day in more}
    same &= calendar.name == target and len(sessions - stocks) > 90 and {"07-04", "09-02", "11-28"} <= holidays
print("as found" if same else "this has changed")
sys.exit(not same)
PYTHON
