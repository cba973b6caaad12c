import { defineConfig } from 'vitest/config'
import LongestFirst from './test/support/order.ts'

/** Suites that start other programs (Docker, Chromium, tor, strace, gcc, systemd) or take long. */
const E2E = ['test/e2e/**/*.test.ts', 'test/proof/**/*.test.ts']

export default defineConfig({
  test: {
    // Two cores: more workers only make the crypto and the Tor tests wait for each other.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/support/reporter.ts'],
    setupFiles: process.env['MUTANTS_RESULTS'] === undefined ? [] : ['./test/mutants/first-failure.ts'],
    testTimeout: 20_000,
    hookTimeout: 120_000,
    projects: [
      // A machine with a registry proxy sets the variable for npm. A relay would name it at its start.
      { extends: true, test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: E2E, env: { NODE_EXTRA_CA_CERTS: '' } } },
      { extends: true, test: { name: 'e2e', include: E2E, globalSetup: './test/support/tor-network.setup.ts' } },
    ],
  },
})
