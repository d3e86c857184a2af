"""Models: Sequential, Model, loading a saved one, and making one again without its weights."""

from distnn.models.describing import clone_model as clone_model
from distnn.models.describing import model_from_json as model_from_json
from distnn.models.model import Model as Model
from distnn.models.saving import load_model as load_model
from distnn.models.saving import save_model as save_model
from distnn.models.sequential import Sequential as Sequential
