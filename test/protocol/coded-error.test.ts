import { describe, expect, it } from 'vitest'
import { CodedError } from '../../src/protocol/coded-error.ts'

type Code = 'too-large' | 'closed'

class TestError extends CodedError<Code> {
  constructor(code: Code, message?: string) {
    super('TestError', code, message)
  }
}

describe('an error with a code', () => {
  it('has its name, its code and its message', () => {
    const error = new TestError('too-large', 'the text is too large')
    expect(error).toBeInstanceOf(TestError)
    expect(error).toBeInstanceOf(Error)
    expect([error.name, error.code, String(error)]).toEqual(['TestError', 'too-large', 'TestError: the text is too large'])
  })

  it('uses the code as the message by default', () => {
    expect(new TestError('closed').message).toBe('closed')
  })

  it('narrows in a switch without default', () => {
    const text = ({ code }: TestError): string => {
      switch (code) {
        case 'too-large':
          return 'send less'
        case 'closed':
          return 'open it again'
      }
    }
    expect(text(new TestError('closed'))).toBe('open it again')
  })
})
