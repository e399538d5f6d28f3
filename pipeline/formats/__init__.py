"""Reading and writing: maskstream records, COCO, MOTS and MOT text."""
