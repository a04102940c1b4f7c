"""XGBoost as AWS's built-in algorithm: trains and serves without a script of the user's.

Its rules are those of the developer guide's pages on XGBoost [D] and of AWS's published container,
aws/sagemaker-xgboost-container, whose source was read for them [S]. Standard library, numpy and xgboost only; pyarrow
for Parquet, scikit-learn for the metrics that XGBoost has not.
"""
