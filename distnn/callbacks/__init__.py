"""Callbacks: what is told of a training as it goes, and may change what comes next.

All hooks run in the process that drives the training. A callback's state (`get_state`) is saved in
checkpoints, so that a resumed training goes on as the unbroken one would. The training loop calls
`CallbackList`; nothing here trains. A hook for single batches makes every segment of steps one step long.
"""

from __future__ import annotations

from distnn.callbacks.backup import BackupAndRestore as BackupAndRestore
from distnn.callbacks.callback import Callback as Callback
from distnn.callbacks.callback import Logs as Logs
from distnn.callbacks.callback import sorted_logs as sorted_logs
from distnn.callbacks.callback_list import CallbackList as CallbackList
from distnn.callbacks.csv_logger import CSVLogger as CSVLogger
from distnn.callbacks.early_stopping import EarlyStopping as EarlyStopping
from distnn.callbacks.history import History as History
from distnn.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from distnn.callbacks.learning_rate import LearningRateScheduler as LearningRateScheduler
from distnn.callbacks.learning_rate import ReduceLROnPlateau as ReduceLROnPlateau
from distnn.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
from distnn.callbacks.progbar_logger import ProgbarLogger as ProgbarLogger
from distnn.callbacks.remote_monitor import RemoteMonitor as RemoteMonitor
from distnn.callbacks.tensorboard import TensorBoard as TensorBoard
from distnn.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN
