"""Puts the gateway under the load that a build with profiles is to be tuned for: every exchange of the table."""
import os
import pathlib
import sys
import tempfile

from measure import CELLS
from rig import Rig

LONG = 30  # seconds; a build that counts is slower to start and to end


def main():
    seconds = int(os.environ.get("SECONDS_", 3))
    with tempfile.TemporaryDirectory() as scratch, Rig(pathlib.Path(scratch)) as rig:
        rig.upstreams()
        gateway = rig.proxy("tollgate", patience=LONG)
        for cell in CELLS:
            if cell.tool == "wrk":
                rig.wrk("tollgate", cell.route, cell.body, seconds)
            elif cell.name == "paced":
                rig.load(cell.tool, "tollgate", cell.route, cell.body, *cell.flags, "--seconds", seconds)
        # What was counted is written when the process ends by itself.
        gateway.child.terminate()
        if gateway.child.wait(LONG):
            sys.exit(f"the gateway ended with status {gateway.child.returncode}")


if __name__ == "__main__":
    main()
