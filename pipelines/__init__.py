"""The jobs, their Prefect flows, MLflow tracking and the command `backorder`."""
