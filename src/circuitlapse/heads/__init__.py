"""What attention heads do: scores of single heads, path patching, and the algorithms they form.

`registry` lists the scores without loading torch; `scoring` measures them.
"""
