"""Data on its way to training: reading sources, checking arrays, preprocessing, splitting.

Nothing here knows of models, engines or runs. `training` wraps what `fit` was given with `as_array_data`;
jobs read a spec's source with `load_source`.
"""

from distnn.data.arrays import ArrayData as ArrayData
from distnn.data.arrays import as_array_data as as_array_data
from distnn.data.dataset import ArrayDataset as ArrayDataset
from distnn.data.preprocessing import MinMax as MinMax
from distnn.data.preprocessing import Preprocessor as Preprocessor
from distnn.data.preprocessing import Standardize as Standardize
from distnn.data.preprocessing import fit_preprocessor as fit_preprocessor
from distnn.data.sources import LoadedData as LoadedData
from distnn.data.sources import load_source as load_source
from distnn.data.sources import source_files as source_files
from distnn.data.splitting import split_last as split_last
from distnn.data.splitting import split_validation as split_validation
