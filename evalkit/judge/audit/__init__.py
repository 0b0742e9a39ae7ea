"""The judge on trial: labelled pairs and hostile responses in, how far a judge can be trusted out.

pairs        human-labelled pairs: the bundled set and the layouts of public ones
judgements   single verdicts of judges, from rows of a judged Run or from recorded files
people       people's scores of single responses against a judge's, and what people would have said of everything
measures     accuracy, kappa, order consistency, position, length, self-consistency, cost
attacks      responses that try to talk the judge round, and how often they succeed
canaries     known-bad answers planted in a real run
"""
