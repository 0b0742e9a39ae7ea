"""Battles in, ratings out: who beats whom, how sure that is, and whether other rankings agree.

battles      a log of battles, from several sources, as the arrays that `stats` rates
logs         battle logs and counts in the layouts people publish → battles
even         a pairwise judgement → the two Runs it compares, one of them even
runs         Runs → battles: two models on the same samples, or a judge's verdicts on pairs
style        style differences of the two responses of a battle
rating       battles → ratings with intervals, ranks, online Elo, win matrix
published    a published ranking → how well ours agrees with it
annotations  AlpacaEval annotations and Runs → judged items per model
win_rates    judged items → raw, discrete and length-controlled win rates
"""
