"""Where the pipeline runs: the two kinds of workers, who watches them, and Ray around them."""
