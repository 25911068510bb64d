from __future__ import annotations

import pytest

from prismaudio.flow.kernels import EulerMaruyamaKernel, OdeKernel, RhoKernel, Step
from prismaudio.testing import NonconformingError, check_kernel


@pytest.mark.parametrize("kernel", [OdeKernel(), EulerMaruyamaKernel(), RhoKernel(), RhoKernel(0.5, "dance")])
def test_the_kernels_of_the_core_pass(kernel):
    check_kernel(kernel)


def test_one_that_does_not_converge_passes_only_if_declared():
    check_kernel(RhoKernel(0.3, "cps"), converges=None)
    with pytest.raises(NonconformingError, match="the std is"):
        check_kernel(RhoKernel(0.3, "cps"))


class Mixing(EulerMaruyamaKernel):
    def transition(self, velocity, latents, now, later):
        return super().transition(velocity, latents + 0.01 * latents.mean(0), now, later)


class Noisy(EulerMaruyamaKernel):
    def step(self, now, later):
        step = super().step(now, later)
        return Step(step.keep, step.push, 2 * step.std)


class Kappa(EulerMaruyamaKernel):
    def kappa(self, now, later):
        return 2 * super().kappa(now, later)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Mixing(), "differs between a batch and alone"),
        (Noisy(), "the std is"),
        (Kappa(), "kappa is not"),
        (object(), "not a TransitionKernel"),
    ],
)
def test_what_is_wrong_is_one_line(kernel, said):
    with pytest.raises(NonconformingError) as caught:
        check_kernel(kernel)
    assert said in str(caught.value)


def test_a_kernel_is_made_again_from_its_arguments():
    changed = EulerMaruyamaKernel(0.7)
    changed.noise_level = 0.1
    with pytest.raises(NonconformingError, match="constructed from its config"):
        check_kernel(changed)
