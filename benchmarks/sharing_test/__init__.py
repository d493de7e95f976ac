"""Search for a verdict of the paired sharing test: python -m benchmarks.sharing_test --data DIR [--cases N]

Simulated networks learn labels from teachers that share their kernels, or in which a position-dependent
correction is planted in one layer. Every layer is relaxed. Every candidate is fitted on unseen images and
judged on others. Each rule of rules.py is scored by how often it gives the verdict "relax".
"""
