"""The report of an evaluation: figures for programs, words and pictures for people."""

from mma_tf.report.json_report import read_results
from mma_tf.report.write import write_report

__all__ = ["read_results", "write_report"]
