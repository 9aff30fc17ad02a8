"""`--model connector_zoo`: the embedded models as a model of lmms-eval."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from loguru import logger


class ConnectorZoo(lmms):
    """`--model connector_zoo --model_args connector=NAME[,seed=S]`: the embedded models, which run on the CPU.

    `connector` is a name of the zoo, or `package.module:Class` of one's own once it is trained.
    """

    def __init__(
        self, connector: str = "mlp", seed: int = 0, batch_size: int | str = 64, **unused: Any
    ) -> None:
        super().__init__()
        from accelerate import Accelerator

        from connector_bench import zoo
        from connector_bench.foreign_files import printable
        from connector_bench.zoo.named_connectors import layout_doubt

        if unknown := set(unused) - {"device", "max_batch_size"}:
            raise ValueError(f"connector_zoo takes connector and seed, got {', '.join(sorted(unknown))}")
        self.accelerator = Accelerator(cpu=True)
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        self.batch_size_per_gpu = int(batch_size)
        try:
            self._model = zoo.load(connector, seed=seed)
        except (ValueError, OSError, RuntimeError) as error:
            # lmms-eval answers an exception with a traceback and the status of success
            logger.error(f"nothing was measured: {printable(str(error))}")
            raise SystemExit(1) from None
        if self.rank == 0 and (doubt := layout_doubt(connector, self._model.layout)):
            logger.warning(doubt)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """A word for every question; only the first line is the question, the rest is a prompt for other models."""
        from connector_bench.zoo.answering import Asked, answers

        asked = []
        for context, _, to_visual, doc_id, task, split in (request.args for request in requests):
            rows = self.task_dict[task][split]
            asked.append(Asked(context.split("\n")[0], rows, doc_id, to_visual))
        return answers(self._model, asked, self.batch_size_per_gpu, quiet=self.rank != 0)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not offered: the zoo answers in words."""
        raise NotImplementedError(
            "connector_zoo has no loglikelihood; use tasks with output_type generate_until"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not offered: the zoo answers one question at a time."""
        raise NotImplementedError("connector_zoo has no multi-round generation; use tasks of a single round")
