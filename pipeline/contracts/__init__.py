"""The contracts of the stages, one a file; `pipeline.stages` is the page that has them all."""
