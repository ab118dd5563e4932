"""The defaults of TF-Slim, which published commands and tutorials rely on."""

from deployment.recipes.base import Recipe

RECIPE = Recipe("classic", "the defaults of TF-Slim")
