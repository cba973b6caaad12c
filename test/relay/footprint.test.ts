/** The sum of everything that a relay may hold fits the limits that the project's own deployments set. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import { estimateFootprint, estimateMemory } from '../../src/relay/footprint.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const MIB = 2 ** 20

function defaults(): { memory: number; connections: number } {
  const parsed = parseConfig({ env: {}, argv: ['--name', 'localhost'], readFile: () => '' })
  if (!('config' in parsed)) throw new Error('no config')
  return parsed.config
}

it("the appliance's limit and the systemd unit's have room for it, with the default settings", () => {
  const [, compose] = /mem_limit: \$\{RELAY_MEMORY:-(\d+)m\}/.exec(read('docker-compose.yml'))!
  const [, unit] = /^MemoryMax=(\d+)G$/m.exec(read('deploy/systemd/asfaleia-relay.service'))!
  for (const limit of [Number(compose) * MIB, Number(unit) * 1_024 * MIB]) {
    expect(estimateMemory(defaults())).toBeLessThan(limit)
    // A tenth is left for fragments and garbage.
    expect(estimateMemory(defaults()) * 1.1).toBeLessThan(limit)
  }
})

it('docs/architecture.md has its parts and its sum', () => {
  const [, text = ''] = /^## Memory$(.*?)^## /ms.exec(read('docs/architecture.md'))!
  const table = [...text.matchAll(/^\| (messages|connections|traffic|keys|the page|the program) \| (.*) \|$/gm)]
  const parts = estimateFootprint(defaults())
  expect(table.map(([, part]) => part?.replace('the ', ''))).toEqual(Object.keys(parts))
  for (const [n, bytes] of Object.values(parts).entries()) expect(table[n]![2]).toContain(`${Math.round(bytes / MIB)} MiB`)
  expect(text).toContain(`the sum of ${Math.round(estimateMemory(defaults()) / MIB)} MiB`)
})
