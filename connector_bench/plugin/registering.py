"""What our entry point in lmms-eval calls: everything of ours that lmms-eval is to know, added to it once."""

from __future__ import annotations

import datasets.load
from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest, ModelRegistryV2

from connector_bench.connectors.fresh import observe_loading
from connector_bench.device_map import give_wrappers_a_device_map
from connector_bench.plugin.given_connector import give_models_their_connector
from connector_bench.plugin.index import index_our_tasks, when_ours_are_asked_for
from connector_bench.plugin.intervened_answers import intervene_on_answers
from connector_bench.plugin.local_files import count_no_local_files
from connector_bench.plugin.measuring import measure_connector
from connector_bench.plugin.printed_rows import print_few_rows
from connector_bench.plugin.refusing import refuse_in_a_sentence
from connector_bench.plugin.result_names import keep_result_files_apart
from connector_bench.plugin.run_tasks import note_tasks_of_the_run
from connector_bench.plugin.task_classes import REQUEST_TYPE
from connector_bench.run.workforce import expect_pictures


def register() -> list[ModelManifest]:
    """Index our tasks, add our request type, let wrappers start, models carry the connector that the environment names
    and answer with changed tokens where that is asked for, local files be read without a request to a server, and the
    printed table be short, and hand lmms-eval our models."""
    index_our_tasks()
    when_ours_are_asked_for(expect_pictures)
    refuse_in_a_sentence()
    keep_result_files_apart()
    print_few_rows()
    give_wrappers_a_device_map(ModelRegistryV2)
    observe_loading()
    give_models_their_connector()
    intervene_on_answers()
    note_tasks_of_the_run()
    count_no_local_files(datasets.load)
    setattr(lmms, REQUEST_TYPE, measure_connector)
    return [
        ModelManifest("connector_zoo", simple_class_path="connector_bench.plugin.ConnectorZoo"),
        ModelManifest("connector_capture", simple_class_path="connector_bench.plugin.ConnectorCapture"),
    ]
