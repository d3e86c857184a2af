"""Pictures of models: `plot_model`, and the boxes, places and drawings it is made of."""

from distnn.plotting.plot import Plot as Plot
from distnn.plotting.plot import model_to_dot as model_to_dot
from distnn.plotting.plot import plot_model as plot_model
