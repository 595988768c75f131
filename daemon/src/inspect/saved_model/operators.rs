//! TensorFlow's own operators that compute: without those that read or write files, run Python, reach the network or other
//! machines, and without input pipelines. Version suffixes (`V2`) are left off.

/// Names, separated by white space.
pub(super) const COMPUTING: &str = "Abs AccumulateN AccumulatorApplyGradient AccumulatorNumAccumulated AccumulatorSetGlobalStep \
     AccumulatorTakeGradient Acos Acosh Add AddManySparseToTensorsMap AddN AddSparseToTensorsMap AdjustContrast \
     AdjustContrastv2 AdjustHue AdjustSaturation All AllCandidateSampler AllToAll Angle AnonymousHashTable \
     AnonymousMemoryCache AnonymousMutableDenseHashTable AnonymousMutableHashTable AnonymousMutableHashTableOfTensors \
     AnonymousRandomSeedGenerator AnonymousSeedGenerator Any ApplyAdaMax ApplyAdadelta ApplyAdagrad ApplyAdagradDA \
     ApplyAdam ApplyAddSign ApplyCenteredRMSProp ApplyFtrl ApplyGradientDescent ApplyMomentum ApplyPowerSign \
     ApplyProximalAdagrad ApplyProximalGradientDescent ApplyRMSProp ApproxTopK ApproximateEqual ArgMax ArgMin \
     AsString Asin Asinh Assert Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp \
     Atan Atan2 Atanh AudioMicrofrontend AudioSpectrogram AvgPool AvgPool3D AvgPool3DGrad AvgPoolGrad \
     BandedTriangularSolve Barrier BarrierClose BarrierIncompleteSize BarrierInsertMany BarrierReadySize \
     BarrierTakeMany Batch BatchCholesky BatchCholeskyGrad BatchFFT BatchFFT2D BatchFFT3D BatchFunction BatchIFFT \
     BatchIFFT2D BatchIFFT3D BatchMatMul BatchMatrixBandPart BatchMatrixDeterminant BatchMatrixDiag \
     BatchMatrixDiagPart BatchMatrixInverse BatchMatrixSetDiag BatchMatrixSolve BatchMatrixSolveLs \
     BatchMatrixTriangularSolve BatchNormWithGlobalNormalization BatchNormWithGlobalNormalizationGrad \
     BatchSelfAdjointEig BatchSvd BatchToSpace BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 \
     BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc BiasAdd BiasAddGrad Bincount Bitcast BitwiseAnd \
     BitwiseOr BitwiseXor BlockLSTM BlockLSTMGrad BroadcastArgs BroadcastGradientArgs BroadcastTo Bucketize \
     CSRSparseMatrixComponents CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor CTCBeamSearchDecoder \
     CTCGreedyDecoder CTCLoss Case Cast Ceil CheckNumerics CheckPinned Cholesky CholeskyGrad ClipByValue \
     CombinedNonMaxSuppression Complex ComplexAbs CompositeTensorVariantFromComponents \
     CompositeTensorVariantToComponents CompressElement ComputeAccidentalHits ComputeBatchSize Concat ConcatOffset \
     ConditionalAccumulator Conj ConjugateTranspose Const ConsumeMutexLock ControlTrigger Conv Conv2D \
     Conv2DBackpropFilter Conv2DBackpropInput Conv3D Conv3DBackpropFilter Conv3DBackpropInput Cos Cosh CountUpTo \
     CropAndResize CropAndResizeGradBoxes CropAndResizeGradImage Cross CudnnRNN CudnnRNNBackprop \
     CudnnRNNCanonicalToParams CudnnRNNParamsSize CudnnRNNParamsToCanonical Cumprod Cumsum CumulativeLogsumexp \
     DataFormatDimMap DataFormatVecPermute Dawsn DecodeAndCropJpeg DecodeBase64 DecodeBmp DecodeCSV DecodeCompressed \
     DecodeGif DecodeImage DecodeJSONExample DecodeJpeg DecodeJxl DecodePaddedRaw DecodePng DecodeProto DecodeRaw \
     DecodeWav DecodeWebP DeepCopy DeleteSeedGenerator DeleteSessionTensor DenseBincount DenseCountSparseOutput \
     DenseToCSRSparseMatrix DenseToDenseSetOperation DenseToSparseSetOperation DepthToSpace DepthwiseConv2dNative \
     DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize DeserializeManySparse \
     DeserializeSparse DestroyResourceOp DestroyTemporaryVariable DeviceIndex Diag DiagPart Digamma Dilation2D \
     Dilation2DBackpropFilter Dilation2DBackpropInput DisableCopyOnRead Div DivNoNan DrawBoundingBoxes \
     DummyIterationCounter DummyMemoryCache DummySeedGenerator DynamicPartition DynamicStitch EditDistance Eig Einsum \
     Elu EluGrad Empty EmptyTensorList EmptyTensorMap EncodeBase64 EncodeJpeg EncodeJpegVariableQuality EncodePng \
     EncodeProto EncodeWav EnsureShape Enter Equal Erf Erfc Erfinv EuclideanNorm Exit Exp ExpandDims Expint Expm1 \
     ExtractGlimpse ExtractImagePatches ExtractJpegShape ExtractVolumePatches FFT FFT2D FFT3D FFTND FIFOQueue \
     FakeParam FakeQuantWithMinMaxArgs FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVars \
     FakeQuantWithMinMaxVarsGradient FakeQuantWithMinMaxVarsPerChannel FakeQuantWithMinMaxVarsPerChannelGradient Fill \
     Fingerprint Floor FloorDiv FloorMod For FractionalAvgPool FractionalAvgPoolGrad FractionalMaxPool \
     FractionalMaxPoolGrad FresnelCos FresnelSin FusedBatchNorm FusedBatchNormGrad FusedPadConv2D \
     FusedResizeAndPadConv2D GRUBlockCell GRUBlockCellGrad Gather GatherNd GenerateBoundingBoxProposals GetDeadline \
     GetOptions GetSessionHandle GetSessionTensor Greater GreaterEqual GuaranteeConst HSVToRGB HashTable \
     HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Identity IdentityN If Igamma \
     IgammaGradA Igammac Imag ImageProjectiveTransform InTopK InitializeTable InitializeTableFromTextFile InplaceAdd \
     InplaceSub InplaceUpdate Inv InvGrad Invert InvertPermutation IsFinite IsInf IsNan IsTensorFloat32Enabled \
     IsVariableInitialized IsotonicRegression KMC2ChainInitialization KmeansPlusPlusInitialization KthOrderStatistic \
     L2Loss LRN LRNGrad LSTMBlockCell LSTMBlockCellGrad LeakyRelu LeakyReluGrad LearnedUnigramCandidateSampler \
     LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p LogMatrixDeterminant LogSoftmax \
     LogUniformCandidateSampler LogicalAnd LogicalNot LogicalOr LookupTableExport LookupTableFind LookupTableImport \
     LookupTableInsert LookupTableRemove LookupTableSize LoopCond LowerBound Lu MakeUnique MakeWeakResourceHandle \
     MapClear MapDefun MapIncompleteSize MapPeek MapSize MapStage MapUnstage MapUnstageNoKey MatMul MatrixBandPart \
     MatrixDeterminant MatrixDiag MatrixDiagPart MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag \
     MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max MaxPool MaxPool3D MaxPool3DGrad \
     MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradWithArgmax MaxPoolGradWithArgmax MaxPoolWithArgmax \
     Maximum Mean Merge MergeV2Checkpoints Mfcc Min Minimum MirrorPad MirrorPadGrad Mod Mul MulNoNan Multinomial \
     MutableDenseHashTable MutableHashTable MutableHashTableOfTensors Mutex MutexLock Ndtri NearestNeighbors Neg \
     NextAfter NextIteration NoOp NonDeterministicInts NonMaxSuppression NonMaxSuppressionWithOverlaps NotEqual \
     NthElement OneHot OnesLike OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone OrderedMapClear \
     OrderedMapIncompleteSize OrderedMapPeek OrderedMapSize OrderedMapStage OrderedMapUnstage OrderedMapUnstageNoKey \
     Pack Pad PaddingFIFOQueue ParallelConcat ParallelDynamicStitch ParameterizedTruncatedNormal ParseExample \
     ParseSequenceExample ParseSingleExample ParseSingleSequenceExample ParseTensor PartitionedCall Placeholder \
     PlaceholderWithDefault Polygamma PopulationCount Pow Prelinearize PrelinearizeTuple PreventGradient Print \
     PriorityQueue Prod Qr Quantize QuantizeAndDequantize QuantizeAndDequantizeV4Grad QuantizeDownAndShrinkRange \
     QuantizedAdd QuantizedAvgPool QuantizedBatchNormWithGlobalNormalization QuantizedBiasAdd QuantizedConcat \
     QuantizedConv2D QuantizedConv2DAndRelu QuantizedConv2DAndReluAndRequantize QuantizedConv2DAndRequantize \
     QuantizedConv2DPerChannel QuantizedConv2DWithBias QuantizedConv2DWithBiasAndRelu \
     QuantizedConv2DWithBiasAndReluAndRequantize QuantizedConv2DWithBiasAndRequantize \
     QuantizedConv2DWithBiasSignedSumAndReluAndRequantize QuantizedConv2DWithBiasSumAndRelu \
     QuantizedConv2DWithBiasSumAndReluAndRequantize QuantizedDepthwiseConv2D QuantizedDepthwiseConv2DWithBias \
     QuantizedDepthwiseConv2DWithBiasAndRelu QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize \
     QuantizedInstanceNorm QuantizedMatMul QuantizedMatMulWithBias QuantizedMatMulWithBiasAndDequantize \
     QuantizedMatMulWithBiasAndRelu QuantizedMatMulWithBiasAndReluAndRequantize QuantizedMatMulWithBiasAndRequantize \
     QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReluX QuantizedReshape \
     QuantizedResizeBilinear QueueClose QueueDequeue QueueDequeueMany QueueDequeueUpTo QueueEnqueue QueueEnqueueMany \
     QueueIsClosed QueueSize RFFT RFFT2D RFFT3D RFFTND RGBToHSV RaggedBincount RaggedCountSparseOutput RaggedCross \
     RaggedFillEmptyRows RaggedFillEmptyRowsGrad RaggedGather RaggedRange RaggedTensorFromVariant \
     RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant RaggedTensorToVariantGradient RandomCrop \
     RandomGamma RandomGammaGrad RandomIndexShuffle RandomPoisson RandomShuffle RandomShuffleQueue \
     RandomStandardNormal RandomUniform RandomUniformInt Range Rank ReadVariableOp Real RealDiv Reciprocal \
     ReciprocalGrad ReduceJoin RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSelect RefSwitch \
     RegexFullMatch RegexReplace Relu Relu6 Relu6Grad ReluGrad RequantizationRange RequantizationRangePerChannel \
     Requantize RequantizePerChannel Reshape ResizeArea ResizeBicubic ResizeBicubicGrad ResizeBilinear \
     ResizeBilinearGrad ResizeNearestNeighbor ResizeNearestNeighborGrad ResourceAccumulatorApplyGradient \
     ResourceAccumulatorNumAccumulated ResourceAccumulatorSetGlobalStep ResourceAccumulatorTakeGradient \
     ResourceApplyAdaMax ResourceApplyAdadelta ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdam \
     ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp ResourceApplyFtrl \
     ResourceApplyGradientDescent ResourceApplyKerasMomentum ResourceApplyMomentum ResourceApplyPowerSign \
     ResourceApplyProximalAdagrad ResourceApplyProximalGradientDescent ResourceApplyRMSProp \
     ResourceConditionalAccumulator ResourceCountUpTo ResourceGather ResourceGatherNd ResourceScatterAdd \
     ResourceScatterDiv ResourceScatterMax ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd \
     ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub \
     ResourceScatterUpdate ResourceSparseApplyAdadelta ResourceSparseApplyAdagrad ResourceSparseApplyAdagradDA \
     ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl ResourceSparseApplyKerasMomentum \
     ResourceSparseApplyMomentum ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent \
     ResourceSparseApplyRMSProp ResourceStridedSliceAssign Restore RestoreSlice Reverse ReverseSequence RightShift \
     Rint RngReadAndSkip RngSkip Roll Round Rsqrt RsqrtGrad SampleDistortedBoundingBox Save SaveSlices \
     ScaleAndTranslate ScaleAndTranslateGrad ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNd \
     ScatterNdAdd ScatterNdMax ScatterNdMin ScatterNdNonAliasingAdd ScatterNdSub ScatterNdUpdate ScatterSub \
     ScatterUpdate SdcaFprint SdcaOptimizer SdcaShrinkL1 SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum \
     Select SelfAdjointEig Selu SeluGrad SerializeManySparse SerializeSparse SerializeTensor SetSize Shape ShapeN \
     ShardedFilename ShardedFilespec Sigmoid SigmoidGrad Sign Sin Sinh Size Slice Snapshot SobolSample Softmax \
     SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad Softsign SoftsignGrad SpaceToBatch SpaceToBatchND \
     SpaceToDepth SparseAccumulatorApplyGradient SparseAccumulatorTakeGradient SparseAdd SparseAddGrad \
     SparseApplyAdadelta SparseApplyAdagrad SparseApplyAdagradDA SparseApplyCenteredRMSProp SparseApplyFtrl \
     SparseApplyMomentum SparseApplyProximalAdagrad SparseApplyProximalGradientDescent SparseApplyRMSProp \
     SparseBincount SparseConcat SparseConditionalAccumulator SparseCountSparseOutput SparseCross SparseCrossHashed \
     SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseFillEmptyRowsGrad \
     SparseMatMul SparseMatrixAdd SparseMatrixMatMul SparseMatrixMul SparseMatrixNNZ SparseMatrixOrderingAMD \
     SparseMatrixSoftmax SparseMatrixSoftmaxGrad SparseMatrixSparseCholesky SparseMatrixSparseMatMul \
     SparseMatrixTranspose SparseMatrixZeros SparseReduceMax SparseReduceMaxSparse SparseReduceSum \
     SparseReduceSumSparse SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanGrad \
     SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNGrad SparseSegmentSqrtNWithNumSegments \
     SparseSegmentSum SparseSegmentSumGrad SparseSegmentSumWithNumSegments SparseSlice SparseSliceGrad SparseSoftmax \
     SparseSoftmaxCrossEntropyWithLogits SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd \
     SparseTensorDenseMatMul SparseTensorToCSRSparseMatrix SparseToDense SparseToSparseSetOperation Spence Split \
     SplitDedupData SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze Stack StackClose StackPop StackPush Stage \
     StageClear StagePeek StageSize StatefulPartitionedCall StatefulRandomBinomial StatefulStandardNormal \
     StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt StatelessCase StatelessIf \
     StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGamma \
     StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal \
     StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformInt \
     StatelessSampleDistortedBoundingBox StatelessShuffle StatelessTruncatedNormal StatelessWhile \
     StaticRegexFullMatch StaticRegexReplace StochasticCastToInt StopGradient StridedSlice StridedSliceAssign \
     StridedSliceGrad StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringStrip \
     StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Sub Substr Sum Svd \
     Switch SymbolicGradient SyncDevice TakeManySparseFromTensorsMap Tan Tanh TanhGrad TemporaryVariable TensorArray \
     TensorArrayClose TensorArrayConcat TensorArrayGather TensorArrayGrad TensorArrayGradWithShape TensorArrayPack \
     TensorArrayRead TensorArrayScatter TensorArraySize TensorArraySplit TensorArrayUnpack TensorArrayWrite \
     TensorListConcat TensorListConcatLists TensorListElementShape TensorListFromTensor TensorListGather \
     TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch \
     TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListSetItem \
     TensorListSplit TensorListStack TensorMapErase TensorMapHasKey TensorMapInsert TensorMapLookup TensorMapSize \
     TensorMapStackKeys TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate \
     TensorStridedSliceUpdate ThreadUnsafeUnigramCandidateSampler Tile TileGrad Timestamp ToBool TopK TopKUnique \
     TopKWithUnique Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod TruncatedNormal Unbatch \
     UnbatchGrad UncompressElement UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript \
     UnicodeTranscode UniformCandidateSampler UniformDequantize UniformQuantize UniformQuantizedAdd \
     UniformQuantizedClipByValue UniformQuantizedConvolution UniformQuantizedConvolutionHybrid UniformQuantizedDot \
     UniformQuantizedDotHybrid UniformRequantize Unique UniqueWithCounts Unpack UnravelIndex UnsortedSegmentJoin \
     UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Unstage UpperBound VarHandleOp \
     VarIsInitializedOp Variable VariableShape Where While Xdivy Xlog1py Xlogy ZerosLike Zeta";
