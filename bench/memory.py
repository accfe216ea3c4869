"""Peak memory of a run: resident set on the CPU, allocated memory on a GPU."""

import sys

import psutil
import torch


class MemoryMeter:
    """Measures from its creation on, where the platform can; otherwise since the process began."""

    def __init__(self, device: str) -> None:
        self.device = device
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return bytes."""
        if self.device.startswith("cuda"):
            return int(torch.cuda.max_memory_allocated())
        if sys.platform == "win32":
            return int(psutil.Process().memory_info().peak_wset)
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak if sys.platform == "darwin" else peak * 1024)
