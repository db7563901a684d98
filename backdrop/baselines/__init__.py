"""Classifiers to hold a network against: fixed features with a linear discriminant, a plain CNN."""

from __future__ import annotations

from backdrop.baselines.classifier import FeatureClassifier
from backdrop.baselines.discriminant import LinearDiscriminant
from backdrop.baselines.gabor import GaborBank
from backdrop.baselines.plain_cnn import PlainCNN
from backdrop.baselines.power_spectrum import PowerSpectrum

__all__ = ["FeatureClassifier", "GaborBank", "LinearDiscriminant", "PlainCNN", "PowerSpectrum"]
