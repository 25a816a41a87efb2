"""Images exchanged with Apache DataSketches for Java, in both directions."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sketches.hashing import hash_longs
from sketches.hyperloglog import HyperLogLog, merge_images

ARTIFACTS = ("datasketches-java:6.2.0", "datasketches-memory:3.0.2")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
SIZES = (0, 1, 7, 8, 24, 25, 100, 2_000, 30_000)

pytestmark = pytest.mark.slow


def ours(lg_k: int, size: int) -> HyperLogLog:
    sketch = HyperLogLog(lg_k)
    sketch.update_many(hash_longs(np.arange(size)))
    return sketch


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], list[list[str]]]:
    """Compile the Java side once; the fixture runs it on lines and splits what it answers."""
    for tool in ("mvn", "javac", "java"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing: apt-get install -y maven default-jdk-headless")
    folder = tmp_path_factory.mktemp("java")
    for artifact in ARTIFACTS:
        command = ["mvn", "-q", "-B", COPY, f"-Dartifact=org.apache.datasketches:{artifact}"]
        subprocess.run([*command, f"-DoutputDirectory={folder}"], check=True, cwd=folder, timeout=300)
    source = Path(__file__).parent / "java" / "HllExchange.java"
    classpath = f"{folder}/*:{folder}"
    subprocess.run(["javac", "-cp", classpath, "-d", str(folder), str(source)], check=True, timeout=120)

    def run(lines: list[str]) -> list[list[str]]:
        command = ["java", "-cp", classpath, "HllExchange"]
        text = "\n".join(lines) + "\n"
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=300)
        return [line.split() for line in done.stdout.splitlines()]

    return run


def test_java_reads_our_images_answers_the_same_and_goes_on(exchange) -> None:
    cases = [(lg_k, size) for lg_k in range(4, 22) for size in SIZES]
    images = [ours(*case).serialize() for case in cases]
    lines = [
        f"read {base64.b64encode(image).decode()} {size} {size + 40}"
        for image, (_, size) in zip(images, cases, strict=True)
    ]
    answers = exchange(lines)
    for (lg_k, size), (estimate, lower, upper, image) in zip(cases, answers, strict=True):
        sketch = ours(lg_k, size)
        assert float(estimate) == pytest.approx(sketch.estimate(), rel=1e-12)
        assert float(lower) == pytest.approx(sketch.lower_bound(2), rel=1e-6)
        assert float(upper) == pytest.approx(sketch.upper_bound(2), rel=1e-6)
        restored = HyperLogLog.deserialize(base64.b64decode(image))
        assert restored.serialize() == ours(lg_k, size + 40).serialize()


def test_we_read_every_image_of_java(exchange) -> None:
    cases = [(lg_k, size, kind) for lg_k in range(4, 22) for size in SIZES for kind in (4, 6, 8)]
    answers = exchange([f"write {lg_k} HLL_{kind} {size}" for lg_k, size, kind in cases])
    for (lg_k, size, _), images in zip(cases, answers, strict=True):
        expected = ours(lg_k, size).serialize()
        assert len(images) == 2
        for image in map(base64.b64decode, images):
            assert HyperLogLog.deserialize(image).serialize() == expected
            assert merge_images(image, ours(lg_k, size // 2).serialize()) == expected
