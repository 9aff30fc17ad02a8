"""What a run costs on a CPU beside the bare processor, tower and connector: CLIP-B under LLaVA, a small Qwen2.5-VL.

    python -m benchmarks.cpu --pictures 2500

Sections are those of `benchmarks.gpu`; *bare* is processor, tower and connector over decoded pictures, as in
`benchmarks.capture`, and the passes decode theirs.
"""

from __future__ import annotations

from benchmarks import gpu

if __name__ == "__main__":
    gpu.main(
        __doc__, device="cpu", only="bare,pass", geometry=["llava_clip_b", "qwen2_5_vl_small"], limit_s=7200.0
    )
