"""Flink's REST interface takes no program from a web page, and none at all in an embedded run."""

from __future__ import annotations

import functools
import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from processes import Run, write_pipeline
from waiting import wait_for

from flink_job.rest_guard.jar import guard_jar
from flink_job.standalone.cluster import FlinkCluster

pytestmark = pytest.mark.cluster
BOUNDARY = "boundary"
PIPELINE = {
    "name": "guarded",
    "source": {"type": "simulator", "events": 0, "rate": 100},
    "event": {"fields": {"ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
    "metrics": [{"name": "events", "kind": "count", "windows": [{"tumbling": "10s"}]}],
}
# What a page can try: forms and requests, those whose answers it may read and those whose it may not.
PAGE = """<!doctype html><body><script>
const address = "http://localhost:PORT", other = "http://127.0.0.1:PORT";
const jar = () => {
  const data = new FormData();
  data.append("jarfile", new Blob(["PK"], {type: "application/x-java-archive"}), "a.jar");
  return data;
};
const graph = () => {
  const data = new FormData();
  data.append("request", new Blob(['{"jobGraphFileName":"g","jobJarFileNames":[],"jobArtifactFileNames":[]}'],
    {type: "application/json"}));
  data.append("file_0", new Blob(["PK"]), "g");
  return data;
};
const tries = [];
for (const to of [address, other]) {
  tries.push(fetch(to + "/jars/upload", {method: "POST", mode: "no-cors", body: jar()}));
  tries.push(fetch(to + "/jobs", {method: "POST", mode: "no-cors", body: graph()}));
  tries.push(fetch(to + "/overview", {mode: "no-cors"}));
  tries.push(fetch(to + "/jobs", {method: "POST", body: graph()}));
  tries.push(fetch(to + "/overview").then(answer => answer.text()).then(text => document.title += text));
  tries.push(new Promise(done => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = to; frame.onload = done; document.body.append(frame, form);
    form.action = to + "/jobs"; form.method = "post"; form.enctype = "text/plain"; form.target = to;
    form.submit();
  }));
}
Promise.allSettled(tries).then(() => document.body.append("all tried"));
</script></body>"""


def answer_to(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """The status and text of the answer to a request of a program, which may set any header."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def upload(address: str, **headers: str) -> tuple[int, str]:
    """The answer to a jar that a program uploads."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="jarfile"; filename="program.jar"\r\n'
        "Content-Type: application/x-java-archive\r\n\r\n"
    )
    body = head.encode() + guard_jar().read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers |= {"Content_Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return answer_to(address, "POST", "/jars/upload", body, **headers)


def expect_pages_refused(address: str) -> None:
    """A request that a page of another site made a browser send is refused, whatever it asks for."""
    own = f"http://{address}"
    foreign = [
        {"Host": f"evil.example:{urlsplit(own).port}"},
        {"Host": "localhost.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {"Origin": f"{own}.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
    ]
    for headers in foreign:
        for method, path in (("GET", "/overview"), ("POST", "/jobs"), ("PATCH", "/jobs/" + "0" * 32)):
            assert (answer_to(address, method, path, **headers)[0], headers) == (403, headers)
        assert (upload(address, **headers)[0], headers) == (403, headers)


def expect_people_let_in(address: str) -> None:
    """The web UI, links to it, programs and other names of this machine are answered."""
    port = urlsplit(f"http://{address}").port
    own = [
        {},
        {"Host": f"127.0.0.1:{port}"},
        {"Host": f"[::1]:{port}"},
        {"Host": "LOCALHOST"},
        {"Origin": f"http://{address}", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
    ]
    assert [answer_to(address, "GET", "/overview", **headers)[0] for headers in own] == [200] * len(own)
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert answer_to(address, "GET", "/", **link)[0] == 200


class Pages(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *told: object) -> None:
        pass


@contextmanager
def web_site(folder: Path) -> Iterator[int]:
    """Serve a folder on localhost and yield the port."""
    handler = functools.partial(Pages, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def browse(folder: Path, url: str) -> tuple[str, list[tuple[str, str]]]:
    """Open a page in Chromium, for which `evil.example` is this machine, as after DNS rebinding.

    Returns:
        The page when its script has run, and each request that went to `/jobs`, `/jars` or `/overview` with
        the status line of its answer.
    """
    if shutil.which("chromium") is None:
        pytest.skip("chromium is missing: sudo apt-get install -y --no-install-recommends chromium")
    log = folder / "network.json"
    ran = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
            f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP evil.example 127.0.0.1",
            f"--log-net-log={log}", "--virtual-time-budget=60000", "--dump-dom", url,
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, _exchanges(json.loads(log.read_text(encoding="utf-8")))


def _exchanges(log: dict) -> list[tuple[str, str]]:
    """Pair the request lines of Chromium's own log with the status lines of their answers."""
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    asked: dict[int, str] = {}
    found = []
    for event in log["events"]:
        kind, source, params = kinds[event["type"]], event["source"]["id"], event.get("params", {})
        if kind == "URL_REQUEST_START_JOB" and "url" in params:
            asked[source] = f"{params['method']} {params['url']}"
        elif kind == "HTTP_TRANSACTION_READ_RESPONSE_HEADERS" and "headers" in params:
            found.append((asked.get(source, ""), params["headers"][0]))
    return [(line, status) for line, status in found if line.endswith(("/jobs", "/upload", "/overview"))]


def expect_page_refused(folder: Path, address: str) -> None:
    """Neither a page of another origin nor one whose name was made to mean this machine gets anything."""
    port = str(urlsplit(f"http://{address}").port)
    (folder / "page.html").write_text(PAGE.replace("PORT", port))
    with web_site(folder) as site:
        page, exchanges = browse(folder, f"http://evil.example:{site}/page.html")
    assert "all tried" in page and "<title>" not in page
    tried = {line for line, _ in exchanges}
    for host in ("localhost", "127.0.0.1"):
        wanted = ("POST", "/jars/upload"), ("POST", "/jobs"), ("GET", "/overview")
        assert {f"{method} http://{host}:{port}{path}" for method, path in wanted} <= tried
    assert {status for _, status in exchanges} == {"HTTP/1.1 403 Forbidden"}

    page, exchanges = browse(folder, f"http://evil.example:{port}/overview")
    assert "Refused: the Host header" in page
    assert {status for _, status in exchanges} == {"HTTP/1.1 403 Forbidden"}


def test_a_cluster_takes_jobs_of_flink_run_but_none_of_web_pages(
    flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    address = flink_cluster.address

    expect_people_let_in(address)
    expect_pages_refused(address)
    status, told = upload(address)  # from a program, which `flink run` is too
    assert status == 400 and "POST request not allowed" in told, told
    status, told = answer_to(address, "POST", "/jobs")  # what `flink run` asks, here without a job
    assert status == 400 and "Refused" not in told
    expect_page_refused(tmp_path, address)


def test_an_embedded_run_takes_no_job_of_anyone(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", write_pipeline(tmp_path, PIPELINE), "--port", "0")
    try:
        address = wait_for(lambda: run.out.partition("http://")[2].split(), "the address of the web UI")[0]
        wait_for(lambda: answer_to(address, "GET", "/overview")[0] == 200, "the web UI")

        expect_people_let_in(address)
        expect_pages_refused(address)
        for path in ("/jobs", "/v1/jobs", "//jobs", "/jobs/", "/jobs?x=/jobs/" + "0" * 32 + "/stop"):
            assert (answer_to(address, "POST", path)[0], path) == (403, path)
        assert upload(address)[0] == 403
        expect_page_refused(tmp_path, address)
        run.interrupt()  # which stops the job by REST, behind a savepoint
        assert run.wait() == 0, run.err
        assert "savepoint" in run.out
    finally:
        run.clean_up()
