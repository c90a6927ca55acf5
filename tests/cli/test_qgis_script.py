"""The Processing script for QGIS: imported with stand-ins for QGIS, run with the real geonp; in QGIS where it is."""

import importlib.util
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "qgis" / "geonp_predict.py"
GEONP = Path(sys.executable).parent / "geonp"


class ProcessingError(Exception):
    """Stands for QgsProcessingException."""


class Parameter:
    """Stands for every QgsProcessingParameter: remembers how it was made."""

    FlagAdvanced = 2

    def __init__(self, name: str, description: str, *rest: object, **more: object) -> None:
        self.name, self.description, self.rest, self.more, self._flags = name, description, rest, more, 0

    def flags(self) -> int:
        return self._flags

    def setFlags(self, flags: int) -> None:
        self._flags = flags


class Algorithm:
    """Stands for QgsProcessingAlgorithm: parameters are what the test gives."""

    def addParameter(self, parameter: Parameter) -> None:
        self.__dict__.setdefault("parameters", {})[parameter.name] = parameter

    def parameterAsRasterLayer(self, given: dict[str, Any], name: str, context: object) -> Any:
        return given[name]

    def _get(self, given: dict[str, Any], name: str, context: object) -> Any:
        return given.get(name, "")

    parameterAsEnum = parameterAsInt = parameterAsFile = parameterAsString = parameterAsOutputLayer = _get


class Feedback:
    """What QGIS's log would show; cancelled after some lines if told so."""

    def __init__(self, cancel: bool = False) -> None:
        self.lines: list[str] = []
        self.command = ""
        self._cancel = cancel

    def pushInfo(self, line: str) -> None:
        self.lines.append(line)

    def pushCommandInfo(self, line: str) -> None:
        self.command = line

    def isCanceled(self) -> bool:
        return self._cancel


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    core = ModuleType("qgis.core")
    for kind in ("Band", "Definition", "Enum", "File", "RasterDestination", "RasterLayer", "String"):
        setattr(core, f"QgsProcessingParameter{kind}", Parameter)
    core.QgsProcessingAlgorithm = Algorithm
    core.QgsProcessingException = ProcessingError
    monkeypatch.setitem(sys.modules, "qgis", ModuleType("qgis"))
    monkeypatch.setitem(sys.modules, "qgis.core", core)
    spec = importlib.util.spec_from_file_location("geonp_predict", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layer(path: Path, provider: str = "gdal") -> SimpleNamespace:
    return SimpleNamespace(source=lambda: str(path), providerType=lambda: provider)


def given(
    script: ModuleType, survey: Path, out: Path, method: str = "linear", **more: object
) -> dict[str, Any]:
    return {
        "SURVEY": layer(survey), "BAND": 1, "METHOD": script.METHODS.index(method), "GEONP": str(GEONP),
        "MEAN": str(out / "mean.tif"), **more,
    }  # fmt: skip


def test_what_the_user_is_asked_for(script: ModuleType) -> None:
    algorithm = script.GeonpPredict().createInstance()
    algorithm.initAlgorithm()
    assert list(algorithm.parameters) == [
        "SURVEY", "BAND", "METHOD", "MORE", "GEONP", "MEAN", "DEVIATION", "STATUS",
    ]  # fmt: skip
    assert algorithm.parameters["GEONP"].flags() == Parameter.FlagAdvanced
    assert algorithm.parameters["STATUS"].more == {"optional": True, "createByDefault": False}
    assert (algorithm.name(), algorithm.groupId()) == ("geonppredict", "interpolation")
    assert "nodata" in algorithm.shortHelpString()


def test_its_methods_are_geonps(script: ModuleType) -> None:
    from geonp.methods import METHODS, with_variance

    assert set(script.METHODS) <= {"auto", *METHODS}
    assert set(script.WITH_DEVIATION) == {"auto", *with_variance()} & set(script.METHODS)


def test_it_completes_a_raster_with_geonp_in_an_environment_of_its_own(
    script: ModuleType, holey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what QGIS sets on Windows, neither geonp's Python nor its PROJ would start."""
    for name in ("PYTHONHOME", "PROJ_LIB", "PROJ_DATA"):
        monkeypatch.setenv(name, str(tmp_path))
    feedback = Feedback()
    parameters = given(
        script,
        holey,
        tmp_path,
        "pykrige",
        DEVIATION=str(tmp_path / "sd.tif"),
        MORE="--tile 512  --co COMPRESS=LZW",
    )
    found = script.GeonpPredict().processAlgorithm(parameters, None, feedback)
    assert found == {"MEAN": str(tmp_path / "mean.tif"), "DEVIATION": str(tmp_path / "sd.tif")}
    with rasterio.open(found["MEAN"]) as mean, rasterio.open(found["DEVIATION"]) as deviation:
        assert np.isfinite(mean.read(1)).all()
        assert (deviation.read(1) > 0).mean() > 0.8
        assert mean.compression.name == "lzw"
    assert (tmp_path / "mean.qml").exists()
    assert "predict" in feedback.command
    assert any("completed by pykrige" in line for line in feedback.lines)


def test_mistakes_are_told_in_words(
    script: ModuleType, holey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(**change: object) -> str:
        with pytest.raises(ProcessingError) as caught:
            script.GeonpPredict().processAlgorithm(given(script, holey, tmp_path) | change, None, Feedback())
        return str(caught.value)

    assert "linear gives no deviation" in told(DEVIATION=str(tmp_path / "sd.tif"))
    assert "pip install geonp" in told(GEONP="/no/such/geonp")
    assert "export it to a GeoTIFF" in told(SURVEY=layer(holey, "wms"))
    assert "cannot be read" in told(SURVEY=None)
    assert "missing.tif" in told(SURVEY=layer(tmp_path / "missing.tif"))
    assert "--nonsense" in told(MORE="--nonsense")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "There is no program geonp" in told(GEONP="")
    assert not (tmp_path / "mean.tif").exists()


def test_a_run_that_is_cancelled_stops_and_leaves_nothing(
    script: ModuleType, holey: Path, tmp_path: Path
) -> None:
    parameters = given(script, holey, tmp_path, "kriging")
    worker = threading.Thread(
        target=script.GeonpPredict().processAlgorithm, args=(parameters, None, Feedback(cancel=True))
    )
    worker.start()
    worker.join(timeout=30)
    assert not worker.is_alive()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["survey.tif"]


IN_QGIS = """
import importlib.util, os, sys
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingFeedback
application = QgsApplication([], False)
application.initQgis()
script, survey, geonp, out = sys.argv[1:]
spec = importlib.util.spec_from_file_location("geonp_predict", script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
algorithm = module.GeonpPredict().create()
method = module.METHODS.index("nearest")
parameters = {"SURVEY": survey, "BAND": 1, "METHOD": method, "GEONP": geonp, "MEAN": out + "/mean.tif"}
result, good = algorithm.run(parameters, QgsProcessingContext(), QgsProcessingFeedback())
print("RESULT", good, sorted(result), flush=True)
os._exit(0)  # QGIS crashes while Python takes it apart
"""


def test_it_runs_in_qgis(holey: Path, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin")
    has = python and subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode == 0
    if not has:
        pytest.skip("QGIS's Python bindings are not installed")
    done = subprocess.run(
        [python, "-c", IN_QGIS, SCRIPT, holey, GEONP, tmp_path],
        capture_output=True,
        text=True,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=120,
    )
    assert "RESULT True ['MEAN']" in done.stdout, done.stderr
    with rasterio.open(tmp_path / "mean.tif") as mean:
        assert np.isfinite(mean.read(1)).all()
