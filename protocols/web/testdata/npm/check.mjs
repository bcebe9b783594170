// Validates the OpenAPI document on standard input and resolves its references.
import { Validator } from '@seriousme/openapi-schema-validator'
import { readFileSync } from 'node:fs'

const validator = new Validator()
const result = await validator.validate(JSON.parse(readFileSync(0, 'utf8')))
if (!result.valid) {
  console.log(JSON.stringify(result.errors))
  process.exit(1)
}
const whole = validator.resolveRefs()
console.log('valid', validator.version, Object.keys(whole.paths).length)
