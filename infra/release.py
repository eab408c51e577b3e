"""What a release consists of: sdist and wheel, a bill of materials (CycloneDX) of the environment, an audit of its dependencies.

The audit asks a service for known weaknesses: what it found is an error, that it could not be asked is said, in a file of its own too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path


def build(tools: Path, target: Path) -> None:
    """Write the sdist and the wheel."""
    subprocess.run([tools / "python", "-m", "build", "--outdir", target, "."], check=True)


def bill_of_materials(tools: Path, python: Path, target: Path) -> None:
    """Write ``sbom.cdx.json``: each package of an interpreter's environment, with version and licence."""
    command = [tools / "cyclonedx-py", "environment", python, "--pyproject", "pyproject.toml", "--output-reproducible", "--validate"]
    subprocess.run([*command, "--output-format", "JSON", "-o", target / "sbom.cdx.json"], check=True)


def audit(tools: Path, lock: Path, target: Path) -> tuple[int, str]:
    """Write ``audit.json`` about the locked packages.

    Returns:
        exit code, and one line that says what came of it: 1 where a package has a known weakness, 0 also where none could be asked for.
    """
    answer = target / "audit.json"
    answer.unlink(missing_ok=True)
    command = [tools / "pip-audit", "-r", lock, "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-o", answer]
    done = subprocess.run(command, capture_output=True, text=True)
    if not answer.is_file():
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        answer.write_text(json.dumps({"audited": False, "reason": reason}) + "\n")
        return 0, f"audit: NOT DONE, its service could not be asked: {reason}"
    packages = json.loads(answer.read_text())["dependencies"]
    weak = [f"{one['name']} {one['version']}: {', '.join(each['id'] for each in one['vulns'])}" for one in packages if one.get("vulns")]
    skipped = sum("skip_reason" in one for one in packages)
    if skipped == len(packages):
        return (
            0,
            f"audit: NOT DONE, its service knows none of {skipped} packages: {packages[0]['skip_reason'] if packages else 'no package'}",
        )
    said = f"audit: {len(packages) - skipped} packages asked about, {skipped} skipped, {len(weak)} with known weaknesses"
    return int(bool(weak)), "\n".join([said, *weak])


def main() -> int:
    """Fill the target folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=Path, required=True, help="the folder of programs with build, cyclonedx-py, pip-audit")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter whose environment the bill lists")
    parser.add_argument("--target", type=Path, default=Path("dist"))
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    build(given.tools, given.target)
    bill_of_materials(given.tools, given.python, given.target)
    code, said = audit(given.tools, Path("requirements.lock"), given.target)
    sys.stdout.write(f"{said}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
