# Compute-optimal at 5e20 FLOPs, 1B to 7B
# Rendered from phase2/compute-optimal-2b-7b, profile full, by runner VERSION: one target for each child.
CHILDREN := \
  c5e20-n1.34b \
  c5e20-n2.32b \
  c5e20-n3.48b \
  c5e20-n5.04b \
  c5e20-n6.89b

.PHONY: children $(CHILDREN)
children: $(CHILDREN)
$(CHILDREN):
	@bash child.sh $@
