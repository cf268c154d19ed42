"""From predictions to actions: what waiting costs, who gets the goods, in which order, and why."""
