"""SavedModel, TFLite and ONNX: the discriminator alone, checked, with its threshold.

Scoring with a .tflite file needs neither Keras nor TensorFlow, and does not wait for
them, so that nothing is imported here: see `exports.py` and `tflite_model.py`.
"""
