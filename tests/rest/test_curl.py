"""docs/rest.md runs as it stands, but for the service's address and key."""

import json
import re
import shutil
import subprocess
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


def test_the_guide_runs_with_curl(queuebit_service, tmp_path: Path):
    assert shutil.which("curl"), "this test needs curl"
    (tmp_path / ".queuebit").mkdir()
    (tmp_path / ".queuebit" / "api-key").write_text(queuebit_service.key)
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    script = "set -eu\n" + "".join(blocks).replace("http://127.0.0.1:8888", queuebit_service.url)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout, done.stderr)
    results = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert len(results) == 3
    assert done.stdout.count(" Completed\n") == 3
    ones = []
    for result in results:
        (pub,) = result["results"]
        assert pub["data"]["c"]["num_bits"] == 2
        for shots in pub["data"]["c"]["samples"]:
            assert len(shots) == 1000
            ones.append(sum(bits == "0x3" for bits in shots) / 1000)
    # cos^2(angle / 2) of six angles from 0 to 2.5, within what the noise takes away
    assert max(ones) > 0.75
    assert min(ones) < 0.1
    assert '"accepting_jobs":false' in done.stdout
    assert '"code":3250' in done.stdout  # the job that is not there
    assert done.stdout.rstrip().endswith("curl ended with 22")
