"""The metrics of the studio benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prismaudio.metrics.onset import OnsetF1
from prismaudio.metrics.spatial import IldCorrelation, ItdCorrelation, SideAdherence
from prismaudio_footage.metrics import FamilyHeard
from prismaudio_studio.adherence import LateEnergyAdherence, NoiseFloorAdherence
from prismaudio_studio.classifier import ClassAccuracy, SourceClassifier

if TYPE_CHECKING:
    from prismaudio.metrics.base import AudioMetric


def studio_metrics(classifier: SourceClassifier | None = None) -> dict[str, AudioMetric]:
    """New metrics by column name; each skips the clips to which it does not apply.

    In a LightningModule, wrap them in ``torch.nn.ModuleDict``, and in ``validation_step`` call
    ``metric.update(audio, sample_rate_hz, targets)`` on each.

    Args:
        classifier: Classifier of sound classes; None for the one of this package.

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


def family_metrics() -> dict[str, AudioMetric]:
    """New metrics by column name, of clips whose families sound like recordings.

    YAMNet takes the place of the classifier, which knows synthetic sounds.
    """
    metrics = studio_metrics()
    del metrics["class_accuracy"]
    return {**metrics, "family_heard": FamilyHeard()}


def edit_metrics(classifier: SourceClassifier | None = None) -> dict[str, AudioMetric]:
    """New metrics of edited plans by column name; update them with the targets of the edited plan.

    Args:
        classifier: Classifier of sound classes; None for the one of this package.
    """
    return {"edit_class": ClassAccuracy(classifier), "edit_time": OnsetF1(), "edit_side": SideAdherence()}
