"""Shapes of requests and answers, one file per subject.

They validate requests, and the OpenAPI document is generated from them. ``api.views`` builds the answers; tests compare
both.
"""
