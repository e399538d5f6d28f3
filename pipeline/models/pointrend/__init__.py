"""PointRend (Kirillov, Wu, He, Girshick 2019): masks of 224 × 224, looked at closely at edges."""
