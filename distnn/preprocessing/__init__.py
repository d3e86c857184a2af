"""From raw things to arrays, with Keras's names: sequences, texts, series, folders of files."""

from distnn.preprocessing import image as image
from distnn.preprocessing import sequence as sequence
from distnn.preprocessing import text as text
from distnn.preprocessing.folders import image_dataset_from_directory as image_dataset_from_directory
from distnn.preprocessing.folders import text_dataset_from_directory as text_dataset_from_directory
from distnn.preprocessing.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
