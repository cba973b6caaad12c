/** The pages of the library's API: TypeDoc documents every public name without a warning. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from '../support/process.ts'

const TYPEDOC = join(import.meta.dirname, '../../deploy/typedoc')
const program = join(TYPEDOC, 'node_modules/typedoc/bin/typedoc')

test('TypeDoc documents the public API without a warning', { timeout: 180_000 }, async (ctx) => {
  ctx.skip(!existsSync(program), 'not installed here: sh deploy/setup.sh docs')
  const out = mkdtempSync(join(tmpdir(), 'asf-api-'))
  try {
    const { code, stdout, stderr } = await run([process.execPath, program, '--options', join(TYPEDOC, 'typedoc.json'), '--out', out])
    expect(`${stdout}${stderr}`).not.toMatch(/warning\]|error\]/)
    expect(code).toBe(0)
    expect(readdirSync(join(out, 'functions'))).toEqual(
      expect.arrayContaining(['openMessenger.html', 'connectRelay.html', 'parseCard.html']),
    )
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
})
