package vllm

import (
	"fmt"
	"strconv"
	"strings"
)

// mostGPUs bounds what a range such as 0-7 can stand for.
const mostGPUs = 1024

// expandGPUs turns 0-3 into 0, 1, 2, 3; other items, such as UUIDs, stay as they are.
func expandGPUs(list []string) (gpus []string, err error) {
	for _, item := range list {
		from, to, isRange := strings.Cut(item, "-")
		first, errFirst := strconv.Atoi(from)
		last, errLast := strconv.Atoi(to)
		switch {
		case !isRange && errFirst == nil && first >= 0:
			gpus = append(gpus, strconv.Itoa(first))
		case isRange && errFirst == nil && errLast == nil && first >= 0 && first <= last && last-first < mostGPUs:
			for i := first; i <= last; i++ {
				gpus = append(gpus, strconv.Itoa(i))
			}
		case strings.HasPrefix(item, "GPU-"), strings.HasPrefix(item, "MIG-"):
			gpus = append(gpus, item)
		default:
			return nil, fmt.Errorf("%q is no GPU, want an index such as 0, a range such as 0-3, or a UUID such as GPU-8f6c", item)
		}
	}
	return gpus, nil
}
