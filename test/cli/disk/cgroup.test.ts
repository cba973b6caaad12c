/** The memory limit of both versions of cgroup: the lowest one on the way from the root to the group of the process. */
import { describe, expect, test } from 'vitest'
import { readMemoryLimit } from '../../../src/cli/disk/cgroup.ts'

const GROUPS = '/proc/self/cgroup'
const V2 = '/sys/fs/cgroup'
const V1 = '/sys/fs/cgroup/memory'

const read = (files: Readonly<Record<string, string>>): number | undefined => readMemoryLimit((path) => files[path])

describe('the limit is', () => {
  test.each<[string, Readonly<Record<string, string>>, number | undefined]>([
    ['unknown without any file', {}, undefined],
    ['none if no group has one', { [GROUPS]: '0::/a\n', [`${V2}/a/memory.max`]: 'max\n' }, undefined],
    ['that of the group', { [GROUPS]: '0::/a/b\n', [`${V2}/a/b/memory.max`]: '5\n' }, 5],
    [
      'that of the group above, if it is lower',
      { [GROUPS]: '0::/a/b\n', [`${V2}/a/b/memory.max`]: '5\n', [`${V2}/a/memory.max`]: '4\n' },
      4,
    ],
    ['that of the group, if it is lower', { [GROUPS]: '0::/a/b\n', [`${V2}/a/b/memory.max`]: '5\n', [`${V2}/a/memory.max`]: '6\n' }, 5],
    ['that of the root in a container', { [GROUPS]: '0::/of/the/machine\n', [`${V2}/memory.max`]: '7\n' }, 7],
    ['not that of another group', { [GROUPS]: '0::/a\n', [`${V2}/b/memory.max`]: '5\n', [`${V2}/a/b/memory.max`]: '5\n' }, undefined],
    ['0 if the group may use nothing', { [GROUPS]: '0::/\n', [`${V2}/memory.max`]: '0\n' }, 0],
    [
      'the lower one of both versions',
      { [GROUPS]: '4:memory:/x\n0::/\n', [`${V2}/memory.max`]: '9\n', [`${V1}/x/memory.limit_in_bytes`]: '8\n' },
      8,
    ],
    ['found beside other controllers', { [GROUPS]: '3:cpu,memory,pids:/x\n', [`${V1}/x/memory.limit_in_bytes`]: '8\n' }, 8],
    ['not that of another controller', { [GROUPS]: '3:memoryx:/x\n', [`${V1}/x/memory.limit_in_bytes`]: '8\n' }, undefined],
    ['less than 2^60', { [GROUPS]: '0::/\n', [`${V2}/memory.max`]: `${2n ** 60n - 256n}\n` }, 2 ** 60 - 256],
    ['none from 2^60', { [GROUPS]: '0::/\n', [`${V2}/memory.max`]: `${2n ** 60n}\n` }, undefined],
    ['none if the file holds no number', { [GROUPS]: '0::/\n', [`${V2}/memory.max`]: '-1\n' }, undefined],
  ])('%s', (_name, files, limit) => {
    expect(read(files)).toBe(limit)
  })
})
