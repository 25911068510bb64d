"""The metrics of the studio world together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.metrics.onset import OnsetF1
from prismaudio.metrics.spatial import IldCorrelation, ItdCorrelation, SideAdherence
from prismaudio_studio.adherence import LateEnergyAdherence, NoiseFloorAdherence
from prismaudio_studio.classifier import ClassAccuracy, SourceClassifier

if TYPE_CHECKING:
    from torchmetrics import Metric


def studio_metrics(classifier: SourceClassifier | None = None) -> dict[str, Metric]:
    """Fresh metrics by column name; each has ``update(audio, sample_rate_hz, targets)`` and picks the clips it needs.

    In a LightningModule wrap them in ``torch.nn.ModuleDict``, and in ``validation_step`` call
    ``metric.update(audio, sample_rate_hz, targets)`` on each.

    Args:
        classifier: What hears classes; None for the one that comes with the package.

    Example:
        >>> list(studio_metrics())[:3]
        ['onset_f1_single', 'onset_f1_mixed', 'itd_correlation']
    """
    return {
        "onset_f1_single": OnsetF1("single"),
        "onset_f1_mixed": OnsetF1("mixed"),
        "itd_correlation": ItdCorrelation(),
        "ild_correlation": IldCorrelation(),
        "class_accuracy": ClassAccuracy(classifier),
        "noise_floor_obeyed": NoiseFloorAdherence(),
        "late_energy_obeyed": LateEnergyAdherence(),
    }


def edit_metrics(classifier: SourceClassifier | None = None) -> dict[str, Metric]:
    """Fresh metrics of edited plans by column name; the targets to update them with state the edited plan.

    Args:
        classifier: What hears classes; None for the one that comes with the package.
    """
    return {"edit_class": ClassAccuracy(classifier), "edit_time": OnsetF1(), "edit_side": SideAdherence()}
