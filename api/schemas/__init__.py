"""Shapes of requests and answers, one file per subject. They validate requests and make the OpenAPI document.

``api.views`` builds the answers; tests compare both.
"""
