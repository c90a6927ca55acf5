"""geonp in the Processing toolbox of QGIS: complete a raster with holes, and say how sure every pixel is.

Add it with: Processing toolbox > Scripts > Add Script to Toolbox. QGIS 3.16 or later. geonp itself runs in a
Python of its own, so nothing has to be installed into QGIS.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBand,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

METHODS = ("auto", "bundled", "kriging", "pykrige", "rbf", "cubic", "linear", "idw", "nearest", "fillnodata")
WITH_DEVIATION = METHODS[:4]

# QGIS points these at its own Python, GDAL and PROJ; in another Python they break its libraries.
OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA")

HELP = """<p>Completes a raster with holes: nodata pixels get a value, and a standard deviation that says how far
it may be off. Observed pixels are returned as they were.</p>
<p><b>auto</b> krigs the raster, corrects that by a network that learnt on terrain, tries both on hidden pixels and
takes the better. Methods after <b>pykrige</b> give no deviation: leave that output out.</p>
<p><b>More options</b> are those of <code>geonp predict --help</code>, such as <code>--smooth</code>.</p>
<p>geonp is found on the PATH, or name its program: <code>.../bin/geonp</code>, on Windows
<code>...\\Scripts\\geonp.exe</code>. Install it with <code>pip install geonp</code>.</p>"""


class GeonpPredict(QgsProcessingAlgorithm):
    """`geonp predict` as a Processing algorithm."""

    def createInstance(self) -> GeonpPredict:  # noqa: N802, D102 - the names are QGIS's
        return GeonpPredict()

    def name(self) -> str:  # noqa: D102
        return "geonppredict"

    def displayName(self) -> str:  # noqa: N802, D102
        return "Complete a raster (geonp)"

    def group(self) -> str:  # noqa: D102
        return "Interpolation"

    def groupId(self) -> str:  # noqa: N802, D102
        return "interpolation"

    def shortHelpString(self) -> str:  # noqa: N802, D102
        return HELP

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: N802
        """State what is asked of the user."""
        self.addParameter(QgsProcessingParameterRasterLayer("SURVEY", "Raster with holes"))
        self.addParameter(QgsProcessingParameterBand("BAND", "Band", 1, "SURVEY"))
        self.addParameter(
            QgsProcessingParameterEnum("METHOD", "Method", options=list(METHODS), defaultValue=0)
        )
        advanced = (
            QgsProcessingParameterString("MORE", "More options of geonp predict", optional=True),
            QgsProcessingParameterFile("GEONP", "Program geonp", optional=True),
        )
        for parameter in advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
            self.addParameter(parameter)
        self.addParameter(QgsProcessingParameterRasterDestination("MEAN", "Completed raster"))
        for name, text in (("DEVIATION", "Standard deviation"), ("STATUS", "Status")):
            self.addParameter(
                QgsProcessingParameterRasterDestination(
                    name, text, optional=True, createByDefault=name == "DEVIATION"
                )
            )

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: Any, feedback: Any
    ) -> dict[str, str]:
        """Run geonp, pass on what it says, and return the outputs."""
        survey = self.parameterAsRasterLayer(parameters, "SURVEY", context)
        if survey is None:
            raise QgsProcessingException("The raster with holes cannot be read.")
        if survey.providerType() != "gdal":
            raise QgsProcessingException(
                f"The raster comes from '{survey.providerType()}'; export it to a GeoTIFF first."
            )
        method = METHODS[self.parameterAsEnum(parameters, "METHOD", context)]
        outputs = {
            name: self.parameterAsOutputLayer(parameters, name, context)
            for name in ("MEAN", "DEVIATION", "STATUS")
        }
        if outputs["DEVIATION"] and method not in WITH_DEVIATION:
            raise QgsProcessingException(
                f"The method {method} gives no deviation: set that output to 'Skip output', or choose one of "
                f"{', '.join(WITH_DEVIATION)}."
            )
        command = [
            program(self.parameterAsFile(parameters, "GEONP", context)),
            *("predict", survey.source(), "--method", method, "--style", "--overwrite"),
            *("--band", str(self.parameterAsInt(parameters, "BAND", context))),
        ]
        for name, option in (("MEAN", "--mean"), ("DEVIATION", "--std"), ("STATUS", "--status")):
            if outputs[name]:
                command += [option, outputs[name]]
        run([*command, *self.parameterAsString(parameters, "MORE", context).split()], feedback)
        return {name: path for name, path in outputs.items() if path}


def program(given: str) -> str:
    """Return the path of geonp: the one given, or that on the PATH.

    Raises
    ------
    QgsProcessingException
        If it is not there.
    """
    found = shutil.which(given or os.environ.get("GEONP", "") or "geonp")
    if found is None:
        raise QgsProcessingException(
            f"There is no program {given or 'geonp'}. Install it (pip install geonp), and name it under "
            "Advanced parameters: .../bin/geonp, on Windows ...\\Scripts\\geonp.exe."
        )
    return found


def run(command: list[str], feedback: Any) -> None:
    """Run geonp until it ends or the user cancels; its notes go to the log as they come.

    Raises
    ------
    QgsProcessingException
        If it fails; the last line that it said is the reason.
    """
    feedback.pushCommandInfo(subprocess.list2cmdline(command))
    environment = {key: value for key, value in os.environ.items() if key not in OF_QGIS}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    said: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(line.rstrip())
        said.put(None)

    threading.Thread(target=listen, daemon=True).start()
    last = ""
    while True:
        if feedback.isCanceled():
            process.terminate()
        try:
            line = said.get(timeout=0.1)
        except queue.Empty:
            continue
        if line is None:
            break
        if line:
            feedback.pushInfo(line)
            last = line
    if process.wait() != 0 and not feedback.isCanceled():
        raise QgsProcessingException(last or f"geonp ended with exit code {process.returncode}.")
