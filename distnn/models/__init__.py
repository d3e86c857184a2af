"""Models: Sequential, Model, and loading a saved one."""

from distnn.models.model import Model as Model
from distnn.models.saving import load_model as load_model
from distnn.models.sequential import Sequential as Sequential
