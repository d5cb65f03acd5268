"""The recipe: one frozen table per stage, in a module for each folder of the pipeline.

Unknown keys are refused with the nearest known one. `${VAR}` is replaced from the environment and fails when unset.
"""
