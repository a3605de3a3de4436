"""How does a network become a list of native steps that one call runs? The inference engine behind a session."""

from __future__ import annotations

from mezzotint.deploy.engine.model import EngineModel
from mezzotint.deploy.engine.profile import Profile, StepTime, profile_of
from mezzotint.deploy.engine.straight import StraightCall

__all__ = ["EngineModel", "Profile", "StepTime", "StraightCall", "profile_of"]
