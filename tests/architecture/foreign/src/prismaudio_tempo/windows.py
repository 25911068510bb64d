"""A schedule of windows."""

from prismaudio.training.grpo.windows import Window, WindowSchedule


class EarlyWindow(WindowSchedule):
    """The first step of each trajectory is random."""

    def window(self, steps, seed, update, group=0):
        return Window(0, 1)
