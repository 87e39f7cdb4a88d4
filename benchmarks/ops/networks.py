"""The shapes that are timed: layers of real networks, as plain data.

A line of `SHAPES` holds, two spaces apart, an op, the network, the shapes of the op's
arrays, and what else the op is given. Of the arrays only those are named whose shape does
not follow from another's: `x` and `weight` of a convolution, and no bias; queries and keys
of attention, and no values.
"""

SHAPES = """
conv  LeNet  128,28,28,1 5,5,1,6
conv  LeNet  128,14,14,6 5,5,6,16  padding=VALID
conv  small CNN  128,28,28,1 3,3,1,32
conv  small CNN  128,14,14,32 3,3,32,64
conv  ResNet-18 at 32x32, stem  64,32,32,3 3,3,3,64
conv  ResNet-18 at 32x32, stage 1  32,32,32,64 3,3,64,64
conv  ResNet-18 at 32x32, into stage 2  32,32,32,64 3,3,64,128  stride=2
conv  ResNet-18 at 32x32, shortcut  32,32,32,64 1,1,64,128  stride=2
conv  ResNet-18 at 32x32, stage 2  32,16,16,128 3,3,128,128
conv  ResNet-18 at 32x32, stage 3  32,8,8,256 3,3,256,256
conv  ResNet-18 at 32x32, stage 4  32,4,4,512 3,3,512,512
conv  ResNet-50, stem  4,224,224,3 7,7,3,64  stride=2
conv  ResNet-50, stage 1  16,56,56,256 1,1,256,64
conv  ResNet-50, stage 1  16,56,56,64 3,3,64,64
conv  ResNet-50, into stage 3  16,28,28,256 3,3,256,256  stride=2
conv  ResNet-50, stage 3  16,14,14,256 3,3,256,256
conv  ResNet-50, stage 3  16,14,14,256 1,1,256,1024
conv  ResNet-50, stage 4  16,7,7,512 3,3,512,512
conv  MobileNetV2, stem  16,224,224,3 3,3,3,32  stride=2
conv  MobileNetV2, expansion  16,56,56,24 1,1,24,144
conv  MobileNetV2, projection  16,28,28,192 1,1,192,32
conv  MobileNetV2, expansion  16,14,14,64 1,1,64,384
conv  MobileNetV2, last  16,7,7,320 1,1,320,1280
conv  ConvNeXt, patches  16,224,224,3 4,4,3,96  stride=4 padding=VALID
conv  ConvNeXt, downsampling  16,56,56,96 2,2,96,192  stride=2 padding=VALID
conv  ViT, patches  8,224,224,3 16,16,3,384  stride=16 padding=VALID
conv  UNet, level 1  2,128,128,32 3,3,32,32
conv  UNet, level 2  4,64,64,64 3,3,64,64
conv  UNet, after a skip  4,64,64,128 3,3,128,64
conv  UNet, bottom  4,16,16,256 3,3,256,512
conv  UNet, output  4,128,128,32 1,1,32,2
conv  DeepLab, dilated  4,32,32,128 3,3,128,128  dilation=2
conv  audio, kernel 9  16,4000,32 9,32,64
conv  audio, strided  16,16000,1 10,1,64  stride=5 padding=VALID
conv  WaveNet, dilated  8,4000,32 2,32,64  dilation=8
conv  video  4,8,32,32,16 3,3,3,16,32
conv  video, strided  2,8,32,32,16 3,3,3,16,32  stride=2
conv  ResNeXt-50, grouped  2,14,14,256 3,3,8,256  groups=32
conv  ShuffleNet, grouped  8,28,28,240 1,1,80,240  groups=3
conv  MobileNetV2 at 32x32, depthwise  32,16,16,96 3,3,1,96  groups=96
conv  MobileNetV2, depthwise  4,56,56,144 3,3,1,144  groups=144
conv  MobileNetV2, depthwise  2,56,56,144 3,3,1,144  stride=2 groups=144
conv  MobileNetV2, depthwise  16,14,14,384 3,3,1,384  groups=384
conv  MobileNetV2, depthwise  8,7,7,960 3,3,1,960  groups=960
conv  EfficientNet, depthwise  4,28,28,240 5,5,1,240  groups=240
conv  EfficientNet, depthwise  4,28,28,240 5,5,1,240  stride=2 groups=240
conv  EfficientNet, depthwise  4,14,14,672 5,5,1,672  groups=672
conv  ConvNeXt, depthwise  2,56,56,96 7,7,1,96  groups=96
conv  ConvNeXt, depthwise  4,14,14,384 7,7,1,384  groups=384
conv  Conformer, depthwise  8,250,144 31,1,144  groups=144
conv_transpose  UNet, up to level 3  2,16,16,256 2,2,256,128  stride=2
conv_transpose  UNet, up to level 2  2,32,32,128 2,2,128,64  stride=2
conv_transpose  DCGAN  16,8,8,128 4,4,128,64  stride=2
conv_transpose  DCGAN, output  32,16,16,64 4,4,64,3  stride=2
conv_transpose  HiFi-GAN  4,250,128 16,128,64  stride=8
max_pool  LeNet  128,28,28,6  window=2
max_pool  VGG at 32x32  64,32,32,64  window=2
max_pool  ResNet-50, stem  8,112,112,64  window=3 stride=2 padding=SAME
max_pool  Inception  16,28,28,192  window=3 stride=1 padding=SAME
max_pool  UNet, level 1  4,128,128,32  window=2
max_pool  audio  16,4000,64  window=4
max_pool  video  4,8,32,32,32  window=2
avg_pool  LeNet  128,28,28,6  window=2
avg_pool  DenseNet, transition  16,28,28,256  window=2
avg_pool  Inception  16,28,28,192  window=3 stride=1 padding=SAME
avg_pool  ResNet-D, shortcut  16,56,56,128  window=3 stride=2 padding=SAME
avg_pool  ResNet-18 at 32x32, global  64,4,4,512  window=4
avg_pool  ResNet-50, global  16,7,7,2048  window=7
avg_pool  audio  16,4000,64  window=4
layer_norm  transformer  8192,512
layer_norm  ViT-B  4096,768
layer_norm  ConvNeXt, stage 1  8,56,56,96
layer_norm  ConvNeXt, stage 3  16,14,14,384
batch_norm  ResNet-18 at 32x32, stage 1  8,32,32,64
batch_norm  ResNet-50, stage 3  32,14,14,256
batch_norm  MLP  8192,512
group_norm  UNet, level 2  4,64,64,64  groups=8
group_norm  ResNet-18 at 32x32, stage 1  32,32,32,64  groups=32
group_norm  ResNet-50, stage 3  16,14,14,1024  groups=32
rms_norm  LLaMA, small  4096,1024
rms_norm  transformer  8,256,512
softmax_cross_entropy  language model  2048,32000
softmax_cross_entropy  ten classes  128,10
softmax_cross_entropy  ImageNet  64,1000
softmax_cross_entropy  character model  8192,256
linear_softmax_cross_entropy  language model, small  2048,128 128,32768
linear_softmax_cross_entropy  GPT-2  4,128,768 768,50257
linear_softmax_cross_entropy  MNIST  128,512 512,10
dense  MNIST, first  128,784 784,512
dense  MNIST, last  128,512 512,10
dense  ImageNet, head  64,2048 2048,1000
dense  transformer  1024,512 512,2048
dense  transformer  4,256,2048 2048,512
embed  word vectors  50000,128 100000
embed  language model  8192,256 8,256
embed  character model  128,128 8,256
rope  transformer  8,256,8,64
rope  LLaMA, small  1,1024,16,64
relu  ResNet-18 at 32x32  32,32,32,64
relu  transformer  4096,3072
leaky_relu  DCGAN  32,32,32,64
elu  autoencoder  32,32,32,64
sigmoid  gates  4096,1024
tanh  LeNet  128,28,28,6
silu  EfficientNet  16,28,28,240
silu  LLaMA, small  4096,3072
gelu  ConvNeXt  16,14,14,1536
gelu  transformer  4096,3072
softplus  mixture density  4096,1024
swiglu  LLaMA, small  2048,1024
geglu  Gemma, small  2048,1024
attention  GPT-2, small  8,256,4,64 8,256,4,64  causal=True
attention  GPT-2, long  1,2048,8,64 1,2048,8,64  causal=True
attention  LLaMA, small  2,512,8,64 2,512,2,64  causal=True
attention  Mistral, small  1,2048,8,64 1,2048,8,64  causal=True window=255
attention  ViT-S  8,197,6,64 8,197,6,64
attention  translation, to the source  8,128,4,64 8,512,4,64
softmax  attention  8,8,256,256
log_softmax  ImageNet  64,1000
mse  autoencoder  128,784
cross_entropy  ImageNet  64,1000
dot  layer by hand  512,512 512,512
matmul  attention  64,256,64 64,64,256
tensordot  attention, output  1024,8,64 8,64,512  axes=2
im2col  small CNN  8,28,28,32  kernel_size=3
col2im  small CNN  8,28,28,288  shape=8,28,28,32 kernel_size=3
"""
